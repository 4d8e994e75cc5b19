/** What the Worker is given: see wrangler.jsonc. */
export interface Env {
  BUCKET: R2Bucket;
  /** Where AI Engine listens. */
  ENGINE_URL: string;
  /** The service's own WEBHOOK_SECRET, whsec_...; two, space apart, while it rotates. */
  WEBHOOK_SECRET: string;
  /** What callers of /generate bring as `Authorization: Bearer ...`: jobs cost time on a GPU. */
  CALLER_TOKEN: string;
  /** Only where the service asks for keys. */
  ENGINE_API_KEY?: string;
}
