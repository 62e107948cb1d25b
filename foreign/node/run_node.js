// npm mqtt in Node, over one transport: `run_node.js TRANSPORT`.

import mqtt from "mqtt";

import { run } from "./scenarios.js";
import { settingsOf } from "./settings.js";

await run(mqtt, settingsOf("node", process.argv[2]), (line) => console.log(line));
process.exit(0);
