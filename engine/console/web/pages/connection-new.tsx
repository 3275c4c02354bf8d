// A new connection.

import { Empty } from "../parts/empty.tsx";
import { LoadError } from "../parts/notice.tsx";
import { Head } from "../parts/panel.tsx";
import { ConnectionForm } from "../parts/connection/form.tsx";
import { navigate } from "../router.ts";
import { part } from "../api.ts";
import { say } from "../notices.ts";
import type { Schemas } from "../types.ts";
import { useLoad } from "../use.ts";
import { mayWrite } from "../viewer.ts";

export default function ConnectionNew() {
  const { data, error, reload } = useLoad<Schemas["Adapters"]>("/api/adapters");
  if (!mayWrite()) return <Empty title="Not for your account" heading>A demo account reads only.</Empty>;
  return (
    <div class="stack">
      <Head title="New connection" about={<>Nothing here can place an order: a connection only reads prices. <a href="/docs/mtapi">Setting up mtapi.io step by step</a></>} />
      <LoadError error={error} retry={reload} />
      {data ? (
        <ConnectionForm
          adapters={data.adapters}
          existing={null}
          onSaved={(saved, changes) => {
            for (const change of changes.length ? changes : [`${saved.name} was created.`]) say(change);
            navigate(`/connections/${part(saved.name)}`);
          }}
        />
      ) : null}
    </div>
  );
}
