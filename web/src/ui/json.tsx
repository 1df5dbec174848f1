import { lazy, Suspense } from 'react';
import classes from './json.module.css';

const Editor = lazy(() => import('./json-editor'));

/** Longer texts are for a file, not for a page. */
const MOST_SHOWN = 256 * 1024;

/** A JSON value as people read it. */
export function Json({ value, label }: { value: unknown; label: string }) {
  const text = typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? '–');
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <pre className={classes.json} tabIndex={0} role="region" aria-label={label}>
      {typeof value === 'string' ? text : highlight(text.slice(0, MOST_SHOWN))}
    </pre>
  );
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

function highlight(text: string) {
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [whole, string, colon, word] = match;
    if (match.index > end) pieces.push(text.slice(end, match.index));
    const kind = string ? (colon ? 'name' : 'string') : word ? 'word' : 'number';
    pieces.push(
      <span key={match.index} data-kind={kind}>
        {string ?? whole}
      </span>,
    );
    if (colon) pieces.push(colon);
    end = match.index + whole.length;
  }
  pieces.push(text.slice(end));
  return pieces;
}

/** An editor of JSON, loaded when it is first needed. */
export function JsonEditor(props: {
  value: string;
  onChange: (text: string) => void;
  label: string;
  minHeight?: number;
  /** Where the text stops being right. */
  errorAt?: number | undefined;
  describedBy?: string | undefined;
}) {
  return (
    <Suspense fallback={<pre className={classes.json}>{props.value}</pre>}>
      <Editor {...props} />
    </Suspense>
  );
}

/** Reads what was typed: empty is null, and what is not JSON is an error. */
export function parseJson(text: string): { value: unknown } | { error: string } {
  if (text.trim() === '') return { value: null };
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
