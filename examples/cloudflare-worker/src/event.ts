/** The signed event, as far as this Worker reads it. */
export interface GenerationEvent {
  /** generation.succeeded, generation.failed, generation.cancelled, webhook.test */
  type: string;
  data: {
    job_id: string;
    session_id: string;
    asset_id: string;
    artifact?: Artifact;
  };
}

export interface Artifact {
  media_type: string;
  /** Of the whole file, in hex. */
  sha256: string;
  /** In bytes. */
  size: number;
  filename: string;
}
