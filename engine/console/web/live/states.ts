// The words of the wire for people: states of quotes, of sources, of holes, and why a source went away.

import type { Tone } from "../parts/badge.tsx";

export interface Word {
  label: string;
  tone: Tone;
  /** What it means, one sentence. */
  help: string;
}

const QUOTES: Record<string, Word> = {
  ok: { label: "Fresh", tone: "good", help: "Two or more sources agree on a market." },
  single: { label: "Single source", tone: "info", help: "Only one source has a fresh price: nothing confirms it." },
  stale: { label: "Stale", tone: "warn", help: "No source has sent a fresh price for longer than prices are good." },
  crossed: { label: "Crossed", tone: "bad", help: "The best bid is above the best ask: sources disagree." },
  locked: { label: "Locked", tone: "warn", help: "The best bid equals the best ask." },
};

const SOURCES: Record<string, Word> = {
  fresh: { label: "Fresh", tone: "good", help: "Its price is young enough to count." },
  stale: { label: "Stale", tone: "warn", help: "Its last price is too old to count." },
  live: { label: "Live", tone: "good", help: "Prices arrive." },
  connecting: { label: "Connecting", tone: "info", help: "The connection is being made." },
  mute: { label: "Mute", tone: "warn", help: "It is connected and says nothing." },
  down: { label: "Down", tone: "bad", help: "It is not connected." },
  stopped: { label: "Stopped", tone: "mute", help: "It was switched off." },
};

const GAPS: Record<string, Word> = {
  open: { label: "Open", tone: "bad", help: "Data is missing still." },
  closed: { label: "Waits for repair", tone: "warn", help: "Data flows again; what was missed has not been fetched." },
  repaired: { label: "Repaired", tone: "good", help: "The venue gave the bars that were missed." },
  lost: { label: "Lost", tone: "mute", help: "The venue has no history of what was missed: it will not be filled." },
};

const CAUSES: Record<string, [string, string]> = {
  none: ["No cause told", "The source gave no reason."],
  start: ["Engine start", "The engine was starting and had no connection yet."],
  connect_failed: ["Connection failed", "The venue could not be reached: its address, the network or a firewall."],
  login_refused: ["Login refused", "The venue does not accept the credentials."],
  closed_by_peer: ["Closed by the venue", "The venue ended the connection."],
  read_error: ["Connection broke", "The network failed while data was read."],
  protocol_error: ["Protocol error", "The venue sent something that its own protocol does not allow."],
  mute: ["Silence", "The connection stood and nothing came for longer than it should."],
  rate_limited: ["Rate limit", "The venue asked to be left alone for a while."],
  stopped: ["Switched off", "Somebody deactivated the connection, or the engine stopped."],
  restart: ["Engine restart", "The engine was not running."],
  sequence_jump: ["Numbers skipped", "The venue's own numbering shows that messages were lost on the way."],
  standby: ["Standby", "Another connection of the same account was serving."],
  journal_full: ["Journal full", "The disk could not take the journal fast enough, so nothing was taken in."],
  ring_full: ["Overload", "More came in than could be worked off, so some was dropped at the door."],
  resume_window: ["Resume window passed", "A reader came back too late to be given what it missed."],
};

const unknown = (word: string): Word => ({ label: word.replaceAll("_", " "), tone: "mute", help: "" });

export const quoteState = (word: string): Word => QUOTES[word] ?? unknown(word);
export const sourceState = (word: string): Word => SOURCES[word] ?? unknown(word);
export const gapState = (word: string): Word => GAPS[word] ?? unknown(word);
/** Why data stopped: in short, and as a sentence. */
export const cause = (word: string): [string, string] => CAUSES[word] ?? [word.replaceAll("_", " "), ""];
/** The same of a connection that may have none: nothing then. */
export const causeOf = (word: string | null | undefined): [string, string] | null => (!word || word === "none" ? null : cause(word));
export const allCauses = (): [string, string, string][] => Object.entries(CAUSES).map(([word, [short, long]]) => [word, short, long]);
