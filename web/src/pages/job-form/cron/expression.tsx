import { useRef, useState } from 'react';
import { useWords } from '#/i18n';
import { scheduleWords } from '../schedule.words';
import { fieldId } from '../state';
import classes from './cron.module.css';
import { type Dialect, fieldsOf, spans } from './model';

/** Where an expression is wrong: 1-based column and length, as the API says it. */
export interface Place {
  column: number;
  length: number;
}

interface ExpressionProps {
  value: string;
  onChange: (expression: string) => void;
  dialect: Dialect;
  error?: string | undefined;
  place?: Place | undefined;
  /** The field in which the cursor stands. */
  onField: (field: string) => void;
}

/** The free text of an expression: the error is underlined where it is, and a caret points at it. */
export function ExpressionInput({ value, onChange, dialect, error, place, onField }: ExpressionProps) {
  const say = useWords(scheduleWords);
  const input = useRef<HTMLInputElement>(null);
  const [scrolled, setScrolled] = useState(0);
  const [at, setAt] = useState<number>();
  const fields = fieldsOf[dialect];
  const parts = spans(value);

  const follow = () => {
    setScrolled(input.current?.scrollLeft ?? 0);
    const cursor = input.current?.selectionStart;
    if (document.activeElement !== input.current || typeof cursor !== 'number') return;
    setAt(cursor);
    const field = fields[parts.findIndex((part) => cursor >= part.from && cursor <= part.to)];
    if (field) onField(field);
  };
  const from = place ? place.column - 1 : 0;
  const marked = place ? value.slice(from, from + place.length) || ' ' : '';
  return (
    <div>
      <label htmlFor={fieldId('schedule.expression')} className={classes.label}>
        {say('expression')}
      </label>
      <div className={classes.fieldNames}>
        {fields.map((field, index) => {
          const part = parts[index];
          if (!part && field === 'year') return null;
          return (
            <button
              key={field}
              type="button"
              tabIndex={-1}
              aria-hidden
              className={classes.fieldName}
              data-here={part !== undefined && at !== undefined && at >= part.from && at <= part.to}
              onClick={() => {
                input.current?.focus();
                if (part) input.current?.setSelectionRange(part.from, part.to);
                onField(field);
              }}
            >
              {say(`unit.${field as 'second'}`)}
            </button>
          );
        })}
      </div>
      <div className={classes.expression} data-wrong={error !== undefined}>
        <div className={classes.behind} aria-hidden>
          <span style={{ transform: `translateX(${-scrolled}px)` }}>
            {value.slice(0, from)}
            {place && <mark>{marked}</mark>}
          </span>
        </div>
        <input
          ref={input}
          id={fieldId('schedule.expression')}
          value={value}
          onChange={(event) => onChange(event.currentTarget.value)}
          onSelect={follow}
          onScroll={follow}
          onKeyUp={follow}
          onBlur={() => setAt(undefined)}
          spellCheck={false}
          autoComplete="off"
          autoCapitalize="off"
          maxLength={256}
          required
          aria-invalid={error !== undefined}
          aria-describedby="cron-error cron-fields"
        />
      </div>
      <span id="cron-fields" className="sr-only">
        {fields.map((field) => say(`unit.${field as 'second'}`)).join(' ')}
      </span>
      <div id="cron-error" role={error ? 'alert' : undefined}>
        {error !== undefined && (
          <>
            {place && (
              <div className={classes.caret} aria-hidden>
                <span style={{ transform: `translateX(${-scrolled}px)` }}>
                  {' '.repeat(from)}
                  {'^'.repeat(Math.max(1, place.length))}
                </span>
              </div>
            )}
            <div className={classes.error}>{error}</div>
          </>
        )}
      </div>
    </div>
  );
}
