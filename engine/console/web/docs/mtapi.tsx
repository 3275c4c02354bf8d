export default function Mtapi() {
  return (
    <>
      <p>mtapi.io runs MetaTrader 4 and 5 terminals for you and speaks HTTP and WebSocket. Through it any broker with MetaTrader can be a source. You need an account at a broker (a demo account will do) and access to mtapi.io.</p>
      <h2>1. Have the account's data at hand</h2>
      <ul>
        <li><strong>Login number</strong>: the number of the trading account.</li>
        <li><strong>Password</strong>: the investor (read-only) password suffices, and is the better choice: with it nobody can trade.</li>
        <li><strong>Server</strong>: exactly as MetaTrader shows it under File, Login to Trade Account, such as <code>Broker-Demo</code>.</li>
      </ul>
      <h2>2. Make the connection</h2>
      <ol>
        <li>Open <a href="/connections/new">New connection</a> and choose the type <strong>MetaTrader 4 and 5 by mtapi.io</strong>.</li>
        <li>Give it a name in small letters, such as <code>broker-demo</code>. Every price it brings carries this name.</li>
        <li><strong>API address</strong>: <code>https://mt5.mtapi.io</code> for MetaTrader 5, <code>https://mt4.mtapi.io</code> for MetaTrader 4, or your own host of it. With <code>http://</code> the password would travel in the clear.</li>
        <li>Enter login number, password and server.</li>
        <li><strong>Broker's clock</strong>: <code>new-york-close</code> (GMT+2, GMT+3 in American summer time) is right for most brokers; others are <code>utc</code> or a fixed offset such as <code>+02:00</code>. MetaTrader tells times on this clock only: wrong by an hour, every price counts as stale.</li>
      </ol>
      <h2>3. Choose symbols and timeframes</h2>
      <ol>
        <li>Under <strong>Ask the venue</strong> type a part of a name and press Search. The list comes from the broker; many append endings, such as <code>EURUSD.r</code>.</li>
        <li>Add those you want. What the engine calls them stands at the right and can be changed: rename <code>EURUSD.r</code> to <code>EURUSD</code>, and it is compared with other brokers' EURUSD.</li>
        <li>Tick the timeframes whose past bars should be fetched.</li>
      </ol>
      <h2>4. Test and activate</h2>
      <ol>
        <li>Press <strong>Test</strong>. mtapi.io signs in at the broker, which can take a minute the first time. The result shows latency, balance and currency, and the first prices.</li>
        <li>When it fails, the message holds the venue's own words, and beside it what to do; all of them are on <a href="/docs/errors">Error codes and cures</a>.</li>
        <li>Press <strong>Save and activate</strong>. The log on the connection's page shows connecting, subscribing and fetching of past bars.</li>
      </ol>
      <h2>Good to know</h2>
      <ul>
        <li>At weekends currencies do not trade: a test then connects, but gets no price. That is no fault.</li>
        <li>Each connection has a session of its own; two programs that ask for the same session token end each other's.</li>
        <li>Where the WebSocket is refused, prices are asked for again and again instead; they come once a second then.</li>
        <li>The same on the command line: <code>tickwire connections add NAME --adapter mtapi …</code></li>
      </ul>
    </>
  );
}
