import { TextInput } from '@mantine/core';
import { instantOf, isZone, localOf, offsetText } from '#/lib/zone';

interface InstantProps {
  id: string;
  label: string;
  description?: string;
  /** RFC 3339, or empty. */
  value: string;
  onChange: (value: string) => void;
  /** On whose clock it is read and typed. */
  zone: string;
  error?: string | undefined;
  required?: boolean;
}

/** An instant, typed as the clock of a zone shows it. */
export function InstantInput({ id, label, description, value, onChange, zone, error, required }: InstantProps) {
  const clock = isZone(zone) ? zone : 'UTC';
  const at = value ? new Date(value) : undefined;
  const valid = at !== undefined && Number.isFinite(at.getTime());
  return (
    <TextInput
      id={id}
      type="datetime-local"
      step={1}
      label={label}
      description={[description, `${clock} ${offsetText(valid ? at : new Date(), clock)}`].filter(Boolean).join(' · ')}
      value={valid ? localOf(at, clock) : ''}
      onChange={(event) => {
        const typed = event.currentTarget.value;
        onChange(typed === '' ? '' : (instantOf(typed, clock)?.toISOString() ?? value));
      }}
      error={error}
      required={required}
    />
  );
}
