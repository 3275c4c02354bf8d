// How far a job is.

import { count } from "../format.ts";
import { span } from "../time.ts";
import type { Job } from "../types.ts";
import { Badge } from "./badge.tsx";
import { Meter } from "./panel.tsx";

export function JobProgress({ job }: { job: Job }) {
  const progress = job.progress;
  return (
    <div class="stack tight">
      <div class="row between">
        <span class="row"><Badge state={job.state} /><a href="/jobs">Job {job.id}</a></span>
        <span class="quiet digits">{progressWords(job)}</span>
      </div>
      {progress && job.state === "running" ? <Meter value={progress.done} max={progress.total} label={`Progress of job ${job.id}`} /> : null}
      {job.message ? <p class={job.state === "failed" ? "bad-text" : undefined}>{job.message}</p> : null}
    </div>
  );
}

/** `1,200 of 6,240, 20 s left`, or how many rows came of it. */
export function progressWords(job: Job): string {
  if (job.progress && (job.state === "running" || job.state === "queued")) {
    const { done, total, eta_seconds } = job.progress;
    return `${count(done)} of ${count(total)}${eta_seconds === null ? "" : `, ${span(eta_seconds * 1000)} left`}`;
  }
  // The message of a job that has ended tells its rows by itself.
  return job.rows === null || job.message ? "" : `${count(job.rows)} rows`;
}
