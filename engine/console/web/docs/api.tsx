export default function Api() {
  const origin = location.origin;
  return (
    <>
      <p>Everything these pages do goes through a JSON API. Its description for programs, from which clients can be generated, is at <a href="/api/openapi.json">/api/openapi.json</a>.</p>
      <h2>Signing in as a program</h2>
      <p>Make a token on <a href="/account">your account</a>: scope <strong>read</strong> to look, <strong>write</strong> to change. Send it with each request:</p>
      <pre tabIndex={0}>{`curl -H "Authorization: Bearer $TOKEN" ${origin}/api/data-connections/health`}</pre>
      <h2>What to know</h2>
      <ul>
        <li>Prices, sizes and money are text, so that no decimal is lost. Read them as decimals.</li>
        <li>Times are RFC 3339 in UTC; those of bars are seconds.</li>
        <li>Lists come newest first, <code>limit</code> at a time; <code>next</code> of one page is <code>before</code> of the next one.</li>
        <li>An error is <code>{'{"error": {"code", "message", "field"}}'}</code>, the message a sentence for people.</li>
        <li>What is another's answers 404, as if it were not there.</li>
        <li>After 429 wait for as many seconds as <code>Retry-After</code> says.</li>
      </ul>
      <h2>Live prices</h2>
      <pre tabIndex={0}>{`curl -N -H "Authorization: Bearer $TOKEN" ${origin}/api/live/quotes`}</pre>
      <p>The first event holds all quotes, those after it only what has changed, at most four times a second. For every single price use a <a href="/docs/terminals">terminal</a>.</p>
      <h2>Bars as CSV</h2>
      <pre tabIndex={0}>{`curl -H "Authorization: Bearer $TOKEN" \\
  "${origin}/api/bars.csv?source=best&symbol=EURUSD&timeframe=H1&from=2026-01-01"`}</pre>
    </>
  );
}
