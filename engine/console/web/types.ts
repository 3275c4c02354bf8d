// The shapes of the API, as `schemas/openapi.json` describes them, under the names that the pages use. `openapi.ts` is
// generated from it (`npm run types`; scripts/get-web does it). Prices, sizes and money are decimal strings; times are
// RFC 3339 in UTC.

import type { components } from "./openapi.ts";

/** Every shape under its name in the document. */
export type Schemas = components["schemas"];

export type Decimal = string;
export type Time = string;

export type Role = Schemas["Role"];
export type Permission = Schemas["Permission"];
export type Scope = Schemas["Scope"];
export type User = Schemas["User"];
export type Session = Schemas["Session"];
export type Token = Schemas["Token"];
export type AuditEntry = Schemas["AuditEntry"];

export type AdapterField = Schemas["Field"];
export type Adapter = Schemas["Adapter"];
export type ConnectionStatus = Schemas["ConnectionStatus"];
export type Connection = Schemas["Connection"];
/** What is known of a symbol whose name does not say it. */
export type InstrumentWanted = Schemas["InstrumentWanted"];
/** What a connection is made from, and what a test is given. */
export type Draft = Required<Schemas["NewConnection"]>;
/** The document leaves open what a symbol's price is. */
export type TestResult = Omit<Schemas["TestResult"], "symbols"> & { symbols: Record<string, { bid: Decimal; ask: Decimal } | null> };
export type LogEntry = Schemas["ConnectionLogEntry"];
export type VenueSymbol = Schemas["VenueSymbol"];
export type Account = Schemas["Account"];
export type Position = Schemas["Position"];
export type ConnectionHealth = Schemas["ConnectionHealth"];
export type ErrorCode = Schemas["ErrorCode"];

export type Instrument = Schemas["InstrumentShown"];
export type Bar = Schemas["BarShown"];
export type Ohlc = NonNullable<Bar["bid"]>;
export type Tick = Schemas["TickShown"];
/** The document cannot say that the first number of a point is its time, which is always there. */
export type IndicatorSeries = Omit<Schemas["OfIndicator"], "points"> & { points: [number, ...(number | null)[]][] };
export type TableStatistics = Schemas["TableShown"];
export type SeriesStatistics = Schemas["SeriesShown"];

export type LiveQuote = Schemas["QuoteShown"];
export type DepthRow = Schemas["DepthShown"];
export type LiveBar = Schemas["LiveBar"];
export type LiveGap = Schemas["GapShown"];

export type Alert = Schemas["Alert"];
export type AlertRule = Schemas["AlertRule"];
export type RuleSettings = Schemas["RuleSettings"];
export type Webhook = Schemas["Webhook"];
/** A webhook as the page changes it: a new one has no number yet, and nothing was sent to it. */
export type EditedWebhook = Omit<Webhook, "id" | "last_delivery"> & Partial<Pick<Webhook, "id" | "last_delivery">> & Pick<Schemas["WebhookDraft"], "secret">;
export type AlertSettings = Schemas["AlertSettings"];
export type Settings = Schemas["Settings"];
export type Status = Schemas["EngineStatus"];
export type SourceSummary = Schemas["SourceQuality"];
export type Gap = Schemas["Gap"];
export type JobKind = Schemas["JobKind"];
export type JobState = Schemas["JobState"];
export type Job = Schemas["Job"];
export type Schedule = Schemas["JobSchedule"];
export type Storage = Schemas["Storage"];
export type Pipeline = Schemas["Pipeline"];
export type Terminal = Schemas["Terminal"];
