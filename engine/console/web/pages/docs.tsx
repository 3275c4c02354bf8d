// The documentation: a topic for each file in docs/.

import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { Empty } from "../parts/empty.tsx";
import { Head } from "../parts/panel.tsx";
import { place } from "../router.ts";
import type { PageProps } from "../routes.ts";
import Alerts from "../docs/alerts.tsx";
import Api from "../docs/api.tsx";
import Errors from "../docs/errors.tsx";
import Licences from "../docs/licences.tsx";
import Mtapi from "../docs/mtapi.tsx";
import Prices from "../docs/prices.tsx";
import Start from "../docs/start.tsx";
import Terminals from "../docs/terminals.tsx";
import Users from "../docs/users.tsx";

const TOPICS: [string, string, ComponentType][] = [
  ["start", "First steps", Start],
  ["mtapi", "Setting up mtapi.io", Mtapi],
  ["errors", "Error codes and cures", Errors],
  ["prices", "Prices, bars and gaps", Prices],
  ["users", "Users and roles", Users],
  ["terminals", "Terminals", Terminals],
  ["alerts", "Alerts and webhooks", Alerts],
  ["api", "The API", Api],
  ["licences", "Licences", Licences],
];

export default function Docs({ params }: PageProps) {
  const wanted = params.topic ?? "start";
  const topic = TOPICS.find(([name]) => name === wanted);
  const hash = place.value.hash;
  useEffect(() => {
    if (hash) document.getElementById(hash.slice(1))?.scrollIntoView();
  }, [hash, wanted]);
  const Topic = topic?.[2];
  return (
    <div>
      <Head title={topic?.[1] ?? "Documentation"} />
      <div class="docs">
        <nav aria-label="Topics" class="menu">
          <ul>{TOPICS.map(([name, title]) => <li key={name}><a href={`/docs/${name}`} aria-current={name === wanted ? "page" : undefined}>{title}</a></li>)}</ul>
        </nav>
        <article class="panel prose">{Topic ? <Topic /> : <Empty title="There is no such topic">Choose one of the list.</Empty>}</article>
      </div>
    </div>
  );
}
