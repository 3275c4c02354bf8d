export default function Terminals() {
  return (
    <>
      <p>A terminal receives live prices over QUIC, faster and more exactly than a page can show them.</p>
      <pre tabIndex={0}>{`tickwire watch                              # a live table of best prices, on this machine
tickwire watch --json --limit 20            # one object a line
tickwire watch --connect HOST:4433 --fingerprint HEX --token env:TOKEN --symbols 'EUR*'`}</pre>
      <ol>
        <li>Make a token with the scope <strong>stream</strong> on <a href="/account">your account</a>. Terminals on the engine's own machine may do without, where the configuration allows it.</li>
        <li>Take the certificate's fingerprint from what the engine prints at its start.</li>
        <li>Programs in Rust use the crate <code>tickwire-terminal</code>; for others <code>schemas/wire.md</code> describes every byte.</li>
      </ol>
      <h2>Two ways of delivery</h2>
      <ul>
        <li><code>latest</code>: the newest value of each price, and how many were skipped. For pages and decisions.</li>
        <li><code>all</code>: everything in order, resumable. For recording. What cannot be resumed is said as a gap.</li>
      </ul>
      <p>A slow terminal gets newer values, not a longer queue. Who is connected, and what each has skipped, is on <a href="/terminals">Terminals</a>.</p>
    </>
  );
}
