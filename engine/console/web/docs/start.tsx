export default function Start() {
  return (
    <>
      <p>Tickwire connects to brokers and exchanges, publishes the best price of all of them, stores ticks, bars and indicators, and says whenever something is missing. It only reads prices: nothing in it can place an order.</p>
      <ol>
        <li><a href="/connections/new">Add a connection</a>: choose its type, give its credentials, search the venue for symbols, tick timeframes.</li>
        <li>Press <strong>Test</strong>. It signs in once and tells the latency, the account's balance where the venue tells it, and the first prices. When something is wrong it says what, and what to do.</li>
        <li>Press <strong>Save and activate</strong>. Prices move within seconds; the running engine takes the connection up without a restart and without touching other feeds.</li>
        <li>Look at <a href="/live">live prices</a>, and click a symbol for its candles and the depth of its sources.</li>
        <li><a href="/users">Add users</a> for those who should look as well, and a <a href="/account">token</a> for each program.</li>
      </ol>
      <h2>What the states of a connection mean</h2>
      <ul>
        <li><strong>Active</strong>: it is switched on and prices come.</li>
        <li><strong>Inactive</strong>: it is switched off.</li>
        <li><strong>Error</strong>: it is switched on, but the venue refuses or cannot be reached. The engine goes on trying, ever more slowly.</li>
        <li><strong>Testing</strong>: it is being connected.</li>
        <li><strong>Stale</strong>: it is connected, but no price has come for longer than expected.</li>
      </ul>
      <h2>Keys</h2>
      <p>Everything works by keyboard: Tab goes on, Enter presses, Escape closes dialogs, the arrow keys change tabs. A new page begins at its heading, so that Tab goes on to what is on it.</p>
    </>
  );
}
