import type { Schemas } from '#/api/client';
import { useSentence } from '#/lib/sentence';

/** What a job's schedule means, in the language of the pages. */
export function Sentence({ of: job }: { of: { schedule: Schemas['Schedule']; schedule_sentence: string } }) {
  return useSentence(job.schedule, job.schedule_sentence);
}
