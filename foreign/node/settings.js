// Where the broker is and who we are; `cargo xtask test` puts it into the environment.

import { readFileSync } from "node:fs";

export function settingsOf(client, transport) {
  const value = (name) => process.env[`FOREIGN_${name}`] ?? "";
  const file = (name) => (value(name) ? readFileSync(value(name), "utf8") : undefined);
  return {
    client,
    transport,
    host: value("HOST"),
    port: Number(value("PORT")),
    path: value("PATH"),
    ca: file("CA"),
    cert: file("CERT"),
    key: file("KEY"),
    user: value("USER"),
    password: value("PASSWORD"),
    topics: value("TOPICS"),
    plantWrong: value("PLANT_WRONG") === "yes",
  };
}
