import list from "licences";

export default function Licences() {
  return (
    <>
      <p>Tickwire stands under the Apache License 2.0. These pages contain the following works of others.</p>
      <p>Charts: TradingView Lightweight Charts™, Copyright (c) TradingView, Inc. <a href="https://www.tradingview.com/" target="_blank" rel="noreferrer">https://www.tradingview.com/</a></p>
      {list.map((one) => (
        <details key={one.name} class="licence">
          <summary>{one.name} {one.version}, {one.licence}</summary>
          <pre tabIndex={0}>{one.text || "No text comes with the package."}</pre>
        </details>
      ))}
    </>
  );
}
