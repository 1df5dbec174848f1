import { Button, Code, Collapse, Loader } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconAlertTriangle, IconLock, IconSearchOff } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { asProblem } from '#/api/problem';
import { useWords } from '#/i18n';
import { BellMark } from './bell';
import classes from './states.module.css';
import { uiWords } from './words';

/** While something is fetched for the first time. */
export function Loading({ compact = false }: { compact?: boolean }) {
  const say = useWords(uiWords);
  return (
    <div className={classes.state} data-compact={compact} role="status">
      <Loader size="sm" aria-hidden />
      <span className="muted">{say('loading')}…</span>
    </div>
  );
}

interface EmptyProps {
  title: string;
  children?: ReactNode;
  action?: ReactNode;
  compact?: boolean;
}

/** Nothing to show, and what one can do about it. */
export function Empty({ title, children, action, compact = false }: EmptyProps) {
  return (
    <div className={classes.state} data-compact={compact}>
      {!compact && <BellMark size={40} quiet />}
      <strong>{title}</strong>
      {children && <div className={`muted ${classes.text}`}>{children}</div>}
      {action}
    </div>
  );
}

/** A failure with everything the API said about it. */
export function Failed({ error, retry, compact = false }: { error: unknown; retry?: () => void; compact?: boolean }) {
  const say = useWords(uiWords);
  const [open, { toggle }] = useDisclosure(false);
  const problem = asProblem(error);
  const [Icon, title, text] =
    problem.status === 404
      ? [IconSearchOff, say('not_found'), say('not_found_hint')]
      : problem.status === 403
        ? [IconLock, say('forbidden'), problem.message]
        : [IconAlertTriangle, say('failed_title'), problem.isPassing ? say('failed_unreachable') : problem.message];
  return (
    <div className={classes.state} data-compact={compact} role="alert">
      <Icon size={compact ? 20 : 32} className={classes.icon} />
      <strong>{title}</strong>
      <div className={`muted ${classes.text}`}>{text}</div>
      <div className={classes.actions}>
        {retry && <Button onClick={retry}>{say('retry')}</Button>}
        <Button variant="default" onClick={toggle} aria-expanded={open}>
          {say('failed_details')}
        </Button>
      </div>
      <Collapse expanded={open}>
        <Code block className={classes.details} tabIndex={0}>
          {JSON.stringify(
            { status: problem.status, code: problem.code, detail: problem.message, ...problem.body },
            null,
            2,
          )}
        </Code>
      </Collapse>
    </div>
  );
}
