/** Signatures as Standard Webhooks makes them. What is signed is the JSON event, never the mesh. */

/** Seconds that a delivery's own clock may be away from ours: an old one can't be played again. */
const TOLERANCE_S = 300;

export class BadSignature extends Error {}

/**
 * The delivery's webhook-id, once the event is known to come from who has the secret.
 *
 * @param secrets whsec_...; several, space apart
 * @throws BadSignature
 */
export async function verify(event: string, headers: Headers, secrets: string): Promise<string> {
  const id = headers.get("webhook-id");
  const timestamp = headers.get("webhook-timestamp");
  const signatures = headers.get("webhook-signature");
  if (!id || !timestamp || !signatures) throw new BadSignature("the delivery is not signed");
  const isFresh = Math.abs(Date.now() / 1000 - Number(timestamp)) <= TOLERANCE_S;
  if (!isFresh) throw new BadSignature("the delivery is too old, or from the future");
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${event}`);
  for (const key of await Promise.all(secrets.split(" ").map(keyOf))) {
    for (const signature of readable(signatures)) {
      // HMAC's own verify compares in constant time.
      if (await crypto.subtle.verify("HMAC", key, signature, signed)) return id;
    }
  }
  throw new BadSignature("the signature is wrong");
}

function keyOf(secret: string): Promise<CryptoKey> {
  const key = Uint8Array.fromBase64(secret.replace(/^whsec_/, ""));
  return crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}

function readable(signatures: string): Uint8Array<ArrayBuffer>[] {
  return signatures.split(" ").flatMap((one) => {
    try {
      return one.startsWith("v1,") ? [Uint8Array.fromBase64(one.slice(3))] : [];
    } catch {
      return [];
    }
  });
}
