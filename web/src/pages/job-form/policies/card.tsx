import { IconRestore } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { useWords } from '#/i18n';
import { formWords } from '../words';
import classes from './card.module.css';

interface CardProps {
  title: string;
  /** The question that the policy answers. */
  question: string;
  changed: boolean;
  onReset: () => void;
  drawing: ReactNode;
  /** What is chosen, in a sentence. */
  text: string;
  /** It has many fields, so it takes a row of its own, with the drawing beside them. */
  wide?: boolean;
  children: ReactNode;
}

/** A policy: what it is about, a drawing of what is chosen, the choice. Only what differs from the default stands out. */
export function PolicyCard({ title, question, changed, onReset, drawing, text, wide = false, children }: CardProps) {
  const say = useWords(formWords);
  return (
    <section className={classes.card} data-changed={changed} data-wide={wide} aria-label={title}>
      <div className={classes.about}>
        <header className={classes.head}>
          <h3>{title}</h3>
          {changed ? (
            <>
              <span className={classes.changed}>{say('changed')}</span>
              <button type="button" className={classes.reset} onClick={onReset}>
                <IconRestore size={13} aria-hidden /> {say('to_default')}
              </button>
            </>
          ) : (
            <span className={classes.standard}>{say('default')}</span>
          )}
        </header>
        <p className={classes.question}>{question}</p>
        <div className={classes.drawing}>{drawing}</div>
        <p className={classes.text}>{text}</p>
      </div>
      <div className={classes.fields}>{children}</div>
    </section>
  );
}
