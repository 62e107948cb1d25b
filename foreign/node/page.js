// In the browser: runs the scenarios and tells the program that serves this page what came of them.

import mqtt from "/mqtt.esm.js";

import { run } from "/scenarios.js";

const post = (path, body) => fetch(path, { method: "POST", body });

try {
  const settings = await (await fetch("/settings.json")).json();
  const told = [];
  await run(mqtt, settings, (line) => told.push(post("/line", line)));
  await Promise.all(told);
  await post("/end", "");
} catch (error) {
  await post("/end", `${error.name}: ${error.message}`);
}
