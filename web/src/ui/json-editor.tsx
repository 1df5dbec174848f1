import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { json } from '@codemirror/lang-json';
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { EditorState } from '@codemirror/state';
import { EditorView, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { useEffect, useRef } from 'react';
import classes from './json.module.css';

interface EditorProps {
  value: string;
  onChange: (text: string) => void;
  label: string;
  minHeight?: number;
}

const colours = HighlightStyle.define([
  { tag: tags.propertyName, color: 'var(--c-accent)' },
  { tag: tags.string, color: 'var(--s-green)' },
  { tag: tags.number, color: 'var(--s-blue)' },
  { tag: [tags.bool, tags.null], color: 'var(--s-plum)' },
]);

/** CodeMirror for JSON. Tab leaves the editor, as keyboard users expect. */
export default function Editor({ value, onChange, label, minHeight = 140 }: EditorProps) {
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
          keymap.of([...defaultKeymap, ...historyKeymap]),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': label }),
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
          }),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, [label, minHeight]);

  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value) {
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
    }
  }, [value]);

  return <div ref={host} className={classes.editor} />;
}
