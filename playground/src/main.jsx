import { GraphiQL } from "graphiql";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import "graphiql/style.css";
import "./main.css";
import { fetcher } from "./fetcher.js";
import { storage } from "./storage.js";
import { tabs } from "./tabs.js";

globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(new URL(WORKER_FILES[label] ?? WORKER_FILES.editor, import.meta.url)),
};

createRoot(document.getElementById("playground")).render(<Playground />);

function Playground() {
  const [refusal, setRefusal] = useState(null);

  /** Sends an operation, and notes whether the schema itself was refused. */
  async function fetchAndNote(operation, options) {
    const answer = await fetcher(operation, options);
    if (operation.operationName === "IntrospectionQuery") {
      setRefusal(answer.data ? null : (answer.errors?.[0]?.message ?? "no reason is given"));
    }
    return answer;
  }

  return (
    <>
      {refusal && (
        <p className="refusal" role="alert">
          The server does not show its schema: {refusal}. Documentation and suggestions are missing. If you have a
          credential, put it into Headers, such as {'{"Authorization": "Bearer …"}'}, and press “Re-fetch GraphQL
          schema”.
        </p>
      )}
      <GraphiQL
        defaultEditorToolsVisibility
        defaultTabs={tabs}
        fetcher={fetchAndNote}
        showPersistHeadersSettings={false}
        storage={storage}
      >
        <GraphiQL.Logo>
          <a href="schema.graphql" target="_blank" title="The schema in SDL">
            Hero Teams
          </a>
        </GraphiQL.Logo>
      </GraphiQL>
    </>
  );
}
