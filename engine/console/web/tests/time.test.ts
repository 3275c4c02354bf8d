import assert from "node:assert/strict";
import test from "node:test";
import { ago, clock, dateTime, millis, span, zoneOffsetSeconds } from "../time.ts";

test("New York follows its summer time", () => {
  assert.equal(dateTime("2026-01-15T22:00:00Z", "America/New_York"), "2026-01-15 17:00:00");
  assert.equal(dateTime("2026-07-15T21:00:00Z", "America/New_York"), "2026-07-15 17:00:00");
  assert.equal(zoneOffsetSeconds(Date.parse("2026-01-15T12:00:00Z") / 1000, "America/New_York"), -18_000);
  assert.equal(zoneOffsetSeconds(Date.parse("2026-07-15T12:00:00Z") / 1000, "America/New_York"), -14_400);
  // The hour that is there twice.
  assert.equal(clock("2026-11-01T05:30:00Z", "America/New_York"), "01:30:00");
  assert.equal(clock("2026-11-01T06:30:00Z", "America/New_York"), "01:30:00");
});

test("midnight is 00, and nanoseconds are cut", () => {
  assert.equal(dateTime("2026-11-21T00:00:00.123456789Z", "UTC", true), "2026-11-21 00:00:00.123");
  assert.equal(millis(1_795_268_400), 1_795_268_400_000);
  assert.equal(dateTime(null, "UTC"), "–");
});

test("spans are told in their two largest units", () => {
  assert.equal(span(40), "40 ms");
  assert.equal(span(1500), "1.5 s");
  assert.equal(span(92_000), "1 min 32 s");
  assert.equal(span(3 * 86_400_000 + 9 * 3_600_000), "3 d 9 h");
  assert.equal(span(7_200_000), "2 h");
  assert.equal(ago("2026-11-21T00:00:00Z", Date.parse("2026-11-21T02:10:00Z")), "2 h ago");
  assert.equal(ago(null, 0), "never");
});
