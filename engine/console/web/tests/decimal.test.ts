import assert from "node:assert/strict";
import test from "node:test";
import { compare, fixed, money, padded, pipParts, subtract } from "../decimal.ts";

test("differences are exact where floats are not", () => {
  assert.equal(subtract("0.3", "0.1"), "0.2");
  assert.equal(subtract("1.08439", "1.08432"), "0.00007");
  assert.equal(subtract("1", "1.00000000000000000001"), "-0.00000000000000000001");
  assert.equal(subtract("98214.31", "x"), null);
});

test("order goes by value, not by text", () => {
  assert.ok(compare("9.5", "10") < 0);
  assert.equal(compare("1.10", "1.1"), 0);
  assert.ok(compare("-2", "-10") > 0);
});

test("digits are added or rounded, half away from zero", () => {
  assert.equal(fixed("1.1", 5), "1.10000");
  assert.equal(fixed("2.675", 2), "2.68");
  assert.equal(fixed("-2.675", 2), "-2.68");
  assert.equal(fixed("0.004", 2), "0.00");
  assert.equal(fixed("154.872", 0), "155");
  assert.equal(padded("1.084321", 5), "1.084321");
  assert.equal(fixed("none", 2), "none");
});

test("money is grouped in thousands", () => {
  assert.equal(money("10012.55"), "10\u202f012.55");
  assert.equal(money("-1234567.8"), "-1\u202f234\u202f567.80");
  assert.equal(money(null), "–");
});

test("a price is set apart at its pip", () => {
  assert.deepEqual(pipParts("1.08432", 5, "0.0001"), ["1.08", "43", "2"]);
  assert.deepEqual(pipParts("154.872", 3, "0.01"), ["154.", "87", "2"]);
  assert.deepEqual(pipParts("2661.4", 2, "0.1"), ["2661.", "4", "0"]);
  assert.deepEqual(pipParts("98214", 0, "1"), ["98214", "", ""]);
});
