import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { json } from '@codemirror/lang-json';
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { EditorState, StateEffect, StateField } from '@codemirror/state';
import { Decoration, type DecorationSet, EditorView, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { useEffect, useRef } from 'react';
import classes from './json.module.css';

interface EditorProps {
  value: string;
  onChange: (text: string) => void;
  label: string;
  minHeight?: number;
  /** Where the text stops being right; it is underlined from there to the end of the word. */
  errorAt?: number | undefined;
  /** The id of the element that says what is wrong. */
  describedBy?: string | undefined;
}

const markError = StateEffect.define<number | undefined>();
const errorMark = Decoration.mark({ class: 'cm-fault' });

const errorField = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, { effects, changes, newDoc }) {
    for (const effect of effects) {
      if (!effect.is(markError)) continue;
      if (effect.value === undefined || newDoc.length === 0) return Decoration.none;
      // What is missing at the end is pointed at by the last character.
      const from = Math.min(effect.value, newDoc.length - 1);
      const word = /^\w+/.exec(newDoc.sliceString(from, from + 40));
      return Decoration.set(errorMark.range(from, from + Math.max(word?.[0].length ?? 1, 1)));
    }
    return marks.map(changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

const colours = HighlightStyle.define([
  { tag: tags.propertyName, color: 'var(--c-accent)' },
  { tag: tags.string, color: 'var(--s-green)' },
  { tag: tags.number, color: 'var(--s-blue)' },
  { tag: [tags.bool, tags.null], color: 'var(--s-plum)' },
]);

/** CodeMirror for JSON. Tab leaves the editor, as keyboard users expect. */
export default function Editor({ value, onChange, label, minHeight = 140, errorAt, describedBy }: EditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const change = useRef(onChange);
  change.current = onChange;
  const first = useRef(value);

  useEffect(() => {
    if (!host.current) return;
    const editor = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: first.current,
        extensions: [
          lineNumbers(),
          history(),
          indentOnInput(),
          bracketMatching(),
          json(),
          syntaxHighlighting(colours),
          errorField,
          keymap.of([...defaultKeymap, ...historyKeymap]),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({
            'aria-label': label,
            ...(describedBy && { 'aria-describedby': describedBy }),
          }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) change.current(update.state.doc.toString());
          }),
          EditorView.theme({
            '&': { backgroundColor: 'var(--c-code-bg)', color: 'var(--c-text)', fontSize: '12.5px' },
            '.cm-content': {
              fontFamily: 'var(--mantine-font-family-monospace)',
              minHeight: `${minHeight}px`,
              caretColor: 'var(--c-text)',
            },
            '.cm-cursor': { borderLeftColor: 'var(--c-text)' },
            '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--c-muted)', border: 'none' },
            '.cm-scroller': { maxHeight: '420px' },
            '&.cm-focused': { outline: 'none' },
            '.cm-fault': {
              textDecoration: 'underline wavy var(--s-red)',
              textDecorationSkipInk: 'none',
              backgroundColor: 'var(--s-red-tint)',
            },
          }),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, [label, minHeight, describedBy]);

  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value) {
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
    }
  }, [value]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the mark belongs to the text as it is now
  useEffect(() => {
    view.current?.dispatch({ effects: markError.of(errorAt) });
    view.current?.contentDOM.setAttribute('aria-invalid', String(errorAt !== undefined));
  }, [errorAt, value]);

  return <div ref={host} className={classes.editor} />;
}
