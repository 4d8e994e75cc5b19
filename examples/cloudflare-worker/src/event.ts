/** The signed event, as far as this Worker reads it. */
export interface GenerationEvent {
  /** generation.succeeded, generation.failed, generation.cancelled, webhook.test */
  type: string;
  data: Generation;
}

export interface Generation {
  job_id: string;
  session_id: string;
  asset_id: string;
  /** Of a job that succeeded. */
  artifact?: Artifact;
}

export interface Artifact {
  media_type: string;
  /** Of the whole file, in hex. */
  sha256: string;
  filename: string;
  /** Where the file is had for a while, if the service knows its own address. */
  url?: string;
}
