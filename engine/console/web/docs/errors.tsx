import { LoadError } from "../parts/notice.tsx";
import { useEffect } from "preact/hooks";
import type { Schemas } from "../types.ts";
import { useLoad } from "../use.ts";

export default function Errors() {
  const { data, error, reload } = useLoad<Schemas["ErrorCodes"]>("/api/error-codes");
  useEffect(() => {
    if (data && location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }, [data]);
  return (
    <>
      <p>What can be wrong with a connection. A test names the code, and so does the connection's log.</p>
      <LoadError error={error} retry={reload} />
      {data ? null : error ? null : <p class="quiet" aria-busy="true">Loading</p>}
      {data?.error_codes.map((one) => (
        <section key={one.code} id={one.code} class="code">
          <h2><code>{one.code}</code></h2>
          <p>{one.meaning}</p>
          <p><strong>What to do: </strong>{one.cure}</p>
        </section>
      ))}
    </>
  );
}
