// What came of a test: in words, with the cure when it failed.

import { sentence } from "../../api.ts";
import { money } from "../../decimal.ts";
import { ms } from "../../format.ts";
import type { TestResult } from "../../types.ts";
import { Notice } from "../notice.tsx";
import { Facts, Panel } from "../panel.tsx";

export function TestOutcome({ result, busy }: { result: TestResult | null; busy: boolean }) {
  return (
    <div aria-live="polite">
      {busy ? <Notice kind="info">Asking the venue. Some take up to a minute to sign in at the broker.</Notice> : null}
      {result && !busy ? <Outcome result={result} /> : null}
    </div>
  );
}

function Outcome({ result }: { result: TestResult }) {
  const prices = Object.entries(result.symbols);
  return (
    <Panel title="Test">
      <div class="stack">
        <Notice kind={result.succeeded ? "good" : "bad"}>
          <p>{sentence(result.message)}</p>
          {result.cure ? <p><strong>What to do: </strong>{result.cure}</p> : null}
          {result.error_code ? <p><a href={`/docs/errors#${result.error_code}`}>More on {result.error_code}</a></p> : null}
        </Notice>
        <Facts facts={result.succeeded || result.latency_ms !== null ? [
          ["Latency", ms(result.latency_ms)],
          ["First price after", ms(result.first_price_ms)],
          ["Balance", result.balance === null ? "not told" : `${money(result.balance)} ${result.currency ?? ""}`],
          ["Equity", result.equity === null ? "not told" : `${money(result.equity)} ${result.currency ?? ""}`],
        ] : []} />
        {prices.length ? (
          <table class="compact">
            <caption class="hidden">First prices</caption>
            <thead><tr><th scope="col">Symbol</th><th scope="col" class="number">Bid</th><th scope="col" class="number">Ask</th></tr></thead>
            <tbody>
              {prices.map(([symbol, price]) => (
                <tr key={symbol}>
                  <th scope="row">{symbol}</th>
                  {price ? <><td class="number">{price.bid}</td><td class="number">{price.ask}</td></> : <td colSpan={2} class="number quiet">no price yet</td>}
                </tr>
              ))}
            </tbody>
          </table>
        ) : null}
      </div>
    </Panel>
  );
}
