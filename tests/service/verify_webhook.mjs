// Whether the official Standard Webhooks library for JavaScript takes a delivery.
//
//     node verify_webhook.mjs FOLDER        FOLDER has node_modules; {secret, payload, headers} on standard input
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const { Webhook } = createRequire(`${process.argv[2]}/package.json`)("standardwebhooks");
const { secret, payload, headers } = JSON.parse(await text(process.stdin));
const event = new Webhook(secret).verify(payload, headers);
process.stdout.write(event.type);
