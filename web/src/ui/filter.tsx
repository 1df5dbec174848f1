import { ActionIcon, Kbd, TextInput } from '@mantine/core';
import { IconSearch, IconX } from '@tabler/icons-react';
import { type ReactNode, useEffect, useState } from 'react';
import { useWords } from '#/i18n';
import classes from './filter.module.css';
import { uiWords } from './words';

/** The filters above a list: in one line, or on a phone in two columns. */
export function Filters({ children }: { children: ReactNode }) {
  return <div className={classes.filters}>{children}</div>;
}

interface FilterProps {
  value: string;
  onChange: (value: string) => void;
  placeholder: string;
  label?: string;
  /** Whether `/` goes to it: false for all but the first of a page. */
  first?: boolean;
  /** `enter` waits for the Enter key: for texts that mean something only when they are whole. */
  commit?: 'typing' | 'enter';
  /** Has room for several words. */
  wide?: boolean;
}

/** A pause in typing after which the list is asked for. */
const PAUSE_MS = 250;

/** The filter box of a list; `/` goes to it. */
export function FilterBox({
  value,
  onChange,
  placeholder,
  label,
  first = true,
  commit = 'typing',
  wide = false,
}: FilterProps) {
  const say = useWords(uiWords);
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value || commit === 'enter') return;
    const timer = setTimeout(() => onChange(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, value, onChange, commit]);
  return (
    <TextInput
      data-filter={first || undefined}
      aria-label={label ?? say('filter')}
      placeholder={placeholder}
      value={text}
      onChange={(event) => setText(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === 'Escape') {
          setText(value);
          event.currentTarget.blur();
        }
        if (event.key === 'Enter') onChange(text);
      }}
      leftSection={<IconSearch size={14} />}
      rightSection={
        text ? (
          <ActionIcon
            size="xs"
            aria-label={say('clear_filters')}
            onClick={() => {
              setText('');
              onChange('');
            }}
          >
            <IconX size={12} />
          </ActionIcon>
        ) : first ? (
          <Kbd size="xs" aria-hidden>
            /
          </Kbd>
        ) : null
      }
      className={wide ? `${classes.box} ${classes.wide}` : classes.box}
    />
  );
}
