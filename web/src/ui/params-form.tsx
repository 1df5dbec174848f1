import { Button, Group } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { asProblem } from '#/api/problem';
import { useWords } from '#/i18n';
import { JsonEditor, parseJson } from './json';
import { Notice } from './notice';
import { uiWords } from './words';

interface ParamsFormProps {
  /** As they were. */
  params: unknown;
  label: string;
  /** Left out where they cannot be others. */
  editable?: boolean;
  disabled?: boolean;
  /** What will happen, above the params. */
  text: (changed: boolean) => string;
  verb: (changed: boolean) => string;
  /** More to decide, below the params. */
  more?: (changed: boolean) => ReactNode;
  onCancel: () => void;
  /** Called with the params where they are others now, else with none. A refusal is shown, and the form stays. */
  onSubmit: (changed: { params: unknown } | undefined) => Promise<unknown>;
}

/** Starts something again, with its params or with others. */
export function ParamsForm({
  params,
  label,
  editable = true,
  disabled = false,
  text,
  verb,
  more,
  onCancel,
  onSubmit,
}: ParamsFormProps) {
  const say = useWords(uiWords);
  const [written, setWritten] = useState(() => JSON.stringify(params, null, 2) ?? 'null');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const parsed = parseJson(written);
  const changed = !('error' in parsed) && JSON.stringify(parsed.value) !== JSON.stringify(params ?? null);

  async function submit() {
    if ('error' in parsed) return;
    setBusy(true);
    setError(undefined);
    try {
      await onSubmit(changed ? { params: parsed.value } : undefined);
    } catch (error) {
      setError(asProblem(error).message);
      setBusy(false);
    }
  }

  return (
    <>
      <p className="muted" style={{ marginTop: 0 }}>
        {text(changed)}
      </p>
      {editable && <JsonEditor value={written} onChange={setWritten} label={label} />}
      {more?.(changed)}
      {'error' in parsed && (
        <Notice tone="red" mt={10}>
          {say('not_json', { message: parsed.error })}
        </Notice>
      )}
      {error && (
        <Notice tone="red" mt={10}>
          {error}
        </Notice>
      )}
      <Group justify="flex-end" mt="lg" gap="xs">
        <Button variant="default" onClick={onCancel}>
          {say('cancel')}
        </Button>
        <Button onClick={() => void submit()} loading={busy} disabled={disabled || 'error' in parsed} data-autofocus>
          {verb(changed)}
        </Button>
      </Group>
    </>
  );
}
