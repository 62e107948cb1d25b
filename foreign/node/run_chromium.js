// npm mqtt in headless Chromium, over one transport: `run_chromium.js TRANSPORT`.
//
// The page comes from a small server here and posts its results back, so nothing has to drive the
// browser. Chromium trusts moat's CA as it would a company's: by its NSS database, which is in a
// home folder of its own. So it verifies the whole chain and the name, as for any other server.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { settingsOf } from "./settings.js";

// The page's origin, which moat's configuration lets in. The browser is told where it is.
const PAGE_HOST = "clients.test";
// For the browser to start, run everything and end.
const BROWSER_MILLIS = 90_000;
// Characters of what the browser said, shown if the page did not come to its end.
const SAID_MAX = 4_000;

const FILES = {
  "/": ["page.html", "text/html"],
  "/page.js": ["page.js", "text/javascript"],
  "/client.js": ["client.js", "text/javascript"],
  "/scenarios.js": ["scenarios.js", "text/javascript"],
  "/mqtt.esm.js": ["node_modules/mqtt/dist/mqtt.esm.js", "text/javascript"],
};

function serve(settings, onEnd) {
  const here = fileURLToPath(new URL(".", import.meta.url));
  return createServer((request, response) => {
    const body = [];
    request.on("data", (chunk) => body.push(chunk));
    request.on("end", () => {
      const text = Buffer.concat(body).toString();
      if (request.url === "/line") {
        console.log(text);
      } else if (request.url === "/end") {
        onEnd(text);
      } else if (request.url === "/settings.json") {
        response.setHeader("Content-Type", "application/json");
        response.write(JSON.stringify(settings));
      } else if (FILES[request.url]) {
        const [file, type] = FILES[request.url];
        response.setHeader("Content-Type", type);
        response.write(readFileSync(join(here, file)));
      } else {
        response.statusCode = 404;
      }
      response.end();
    });
  });
}

/** A home folder whose NSS database trusts the CA. */
function homeThatTrusts(caFile) {
  const home = mkdtempSync(join(tmpdir(), "moat-chromium-"));
  const database = join(home, ".pki", "nssdb");
  mkdirSync(database, { recursive: true });
  const certutil = (...rest) => execFileSync("certutil", ["-d", `sql:${database}`, ...rest]);
  certutil("-N", "--empty-password");
  certutil("-A", "-t", "C,,", "-n", "moat", "-i", caFile);
  return home;
}

function start(home, pagePort) {
  return spawn(
    "chromium",
    [
      "--headless=new",
      // In a container there is often nothing a sandbox could be made of; the page is our own.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--disable-background-networking",
      "--disable-component-update",
      "--no-first-run",
      `--user-data-dir=${join(home, "profile")}`,
      `--host-resolver-rules=MAP ${PAGE_HOST}:80 127.0.0.1:${pagePort}`,
      `http://${PAGE_HOST}/`,
    ],
    { env: { ...process.env, HOME: home }, stdio: ["ignore", "ignore", "pipe"] },
  );
}

async function main() {
  const settings = settingsOf("chromium", process.argv[2]);
  let end;
  const ended = new Promise((resolve) => {
    end = resolve;
  });
  const server = serve(settings, end);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const home = homeThatTrusts(process.env.FOREIGN_CA);
  const browser = start(home, server.address().port);
  let said = "";
  browser.stderr.on("data", (chunk) => {
    said = (said + chunk).slice(-SAID_MAX);
  });
  browser.on("error", (error) => end(`chromium does not start: ${error.message}`));
  browser.on("exit", (code) => end(`chromium ended with ${code}`));
  const timer = setTimeout(() => end("the page did not come to its end"), BROWSER_MILLIS);
  const trouble = await ended;
  clearTimeout(timer);
  const gone = new Promise((resolve) => browser.once("exit", resolve));
  if (browser.kill("SIGKILL")) {
    await gone;
  }
  if (existsSync(home)) {
    // Its helper processes may still be writing.
    rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
  if (trouble) {
    console.error(`${trouble}\n${said}`);
    process.exit(1);
  }
  process.exit(0);
}

await main();
