import { TextInput } from '@mantine/core';
import { useWords } from '#/i18n';
import { type Draft, emptyDraft } from '../draft';
import { fieldId, useForm } from '../state';
import { formWords } from '../words';

/** The API's defaults, to hold what is chosen against. */
export const standard: Draft = emptyDraft('', 'UTC');

type WithParts = 'overlap' | 'misfire' | 'retry' | 'routing' | 'parallel';

interface PartProps<K extends WithParts> {
  of: K;
  part: keyof Draft[K] & string;
  /** Numbers and durations are texts, so that nothing typed is lost. */
  kind: 'number' | 'duration' | 'text';
  description?: string;
  required?: boolean;
}

/** A field of a policy. */
export function PolicyField<K extends WithParts>({ of, part, kind, description, required }: PartProps<K>) {
  const say = useWords(formWords);
  const { draft, set, faultOf } = useForm();
  const path = `${of}.${part}`;
  const usual = String(standard[of][part] ?? '');
  return (
    <TextInput
      id={fieldId(path)}
      label={say(`field.${path}` as 'field.retry.max')}
      description={description}
      value={String(draft[of][part])}
      onChange={(event) => set(of, { [part]: event.currentTarget.value } as never)}
      placeholder={usual}
      inputMode={kind === 'number' ? 'numeric' : undefined}
      error={faultOf(path)}
      required={required}
      autoComplete="off"
    />
  );
}

/** Whether something differs from the default; an empty field means it. */
export function differs<K extends WithParts>(
  draft: Draft,
  of: K,
  parts: readonly (keyof Draft[K] & string)[],
): boolean {
  return parts.some((part) => {
    const [chosen, usual] = [draft[of][part], standard[of][part]];
    return chosen !== '' && JSON.stringify(chosen) !== JSON.stringify(usual);
  });
}
