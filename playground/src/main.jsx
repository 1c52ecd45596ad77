import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";
import "graphiql/style.css";
import "./main.css";
import { fetcher } from "./fetcher.js";
import { tabs } from "./tabs.js";

globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(new URL(WORKER_FILES[label] ?? WORKER_FILES.editor, import.meta.url)),
};

createRoot(document.getElementById("playground")).render(
  <GraphiQL defaultEditorToolsVisibility defaultTabs={tabs} fetcher={fetcher}>
    <GraphiQL.Logo>
      <a href="schema.graphql" target="_blank" title="The schema in SDL">
        Hero Teams
      </a>
    </GraphiQL.Logo>
  </GraphiQL>,
);
