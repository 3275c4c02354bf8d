export default function Prices() {
  return (
    <>
      <h2>The best price</h2>
      <p>For each symbol the engine takes the highest bid and the lowest ask of all its fresh sources. It stands under the source <code>best</code> and names both contributors. Its state says how far it can be relied on: fresh, from a single source, one-sided, crossed, or stale.</p>
      <h2>Ticks</h2>
      <p>Every tick has a verdict. Those that are out of order, twice there, crossed or far off are rejected with the reason, stored all the same, and count in no bar. Prices are decimals from the wire to this page; nothing is rounded on the way.</p>
      <h2>Bars</h2>
      <p>Bars are made of accepted ticks, of bid, ask and mid, and cut by the calendar of their market: days of currencies end at 17:00 New York, those of crypto at 00:00 UTC. A bar is open while it forms and final at its close; late ticks make a new revision of it. A venue's own bars fill in the past.</p>
      <h2>Gaps</h2>
      <p>When a source is disconnected, mute, or skips messages, a gap is opened at once and shaded in charts. When it has closed, the venue's past bars are fetched and the gap becomes repaired; it is lost when the venue has no past of that time. The <a href="/gaps">ledger</a> shows all of them.</p>
      <h2>Backfill</h2>
      <p>The data tab of a connection fetches older bars of any period. It goes on where it stopped when the engine is restarted meanwhile.</p>
      <h2>Retention</h2>
      <p>Once a day what is older than the rules say is deleted: the days of its connection, else those of the engine's settings. The <a href="/storage">storage</a> page tells how much went.</p>
    </>
  );
}
