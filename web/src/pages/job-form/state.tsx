import { createContext, type ReactNode, useCallback, useContext, useMemo, useState } from 'react';
import type { Draft } from './draft';

/** What is wrong with a field: its dotted path as the API says it, and a sentence. */
export interface Fault {
  field: string;
  message: string;
}

type Part<K extends keyof Draft> = Draft[K] extends unknown[]
  ? Draft[K]
  : Draft[K] extends object
    ? Partial<Draft[K]>
    : Draft[K];

interface FormState {
  draft: Draft;
  /** A value for a plain field, some fields for one with parts. What was wrong with them is forgotten. */
  set: <K extends keyof Draft>(key: K, part: Part<K>) => void;
  /** What is wrong with a field and with what lies in it. */
  faultOf: (field: string) => string | undefined;
  /** The job exists: what never changes cannot be edited. */
  editing: boolean;
}

const Context = createContext<FormState | undefined>(undefined);

export function useForm(): FormState {
  const form = useContext(Context);
  if (!form) throw new Error('a field of the job form stands outside of it');
  return form;
}

/** The element's id of a field, so that a list of faults can lead to it. */
export function fieldId(field: string): string {
  return `job-${field.replace(/\W+/g, '-')}`;
}

/** Goes to a field, or to the first thing in it that takes the focus. */
export function focusField(field: string) {
  for (let path = field; path !== ''; path = path.includes('.') ? path.slice(0, path.lastIndexOf('.')) : '') {
    const element = document.getElementById(fieldId(path));
    if (!element) continue;
    const inner = element.matches('input, textarea, select, button')
      ? element
      : element.querySelector<HTMLElement>('input:checked, input, textarea, select, [contenteditable="true"], button');
    (inner ?? element).scrollIntoView({ block: 'center' });
    (inner ?? element).focus();
    return;
  }
}

/** The draft and the faults of the last answer. */
export function useFormState(first: Draft, editing: boolean) {
  const [draft, setDraft] = useState(first);
  const [faults, setFaults] = useState<Fault[]>([]);

  const set = useCallback<FormState['set']>((key, part) => {
    setDraft((draft) => {
      const before = draft[key];
      const plain = typeof before !== 'object' || Array.isArray(before);
      return { ...draft, [key]: plain ? part : { ...before, ...(part as object) } };
    });
    const changed =
      typeof part === 'object' && part !== null && !Array.isArray(part)
        ? Object.keys(part).map((name) => `${key}.${name}`)
        : [key];
    setFaults((faults) =>
      faults.filter(
        ({ field }) => field !== key && !changed.some((path) => field === path || field.startsWith(`${path}.`)),
      ),
    );
  }, []);

  const form = useMemo<FormState>(
    () => ({
      draft,
      set,
      editing,
      faultOf: (field) =>
        faults
          .filter((fault) => fault.field === field || fault.field.startsWith(`${field}.`))
          .map((fault) => fault.message)
          .join(' ') || undefined,
    }),
    [draft, set, editing, faults],
  );
  return { form, draft, setDraft, faults, setFaults };
}

export function FormProvider({ form, children }: { form: FormState; children: ReactNode }) {
  return <Context value={form}>{children}</Context>;
}
