/** The signed event, by the service's API document: `api_schema.ts` is generated from it, the studio's and this one alike. */
import type { components } from "./api_schema";

type Schemas = components["schemas"];

export type GenerationEvent = Schemas["WebhookEvent"];
export type Generation = Schemas["EventData"];
