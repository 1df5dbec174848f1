import { IconAlertTriangle, IconInfoCircle } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import classes from './notice.module.css';
import type { Tone } from './state';

/** A remark in a box: what a person should know, or what went wrong. */
export function Notice({ tone = 'slate', children, mt }: { tone?: Tone; children: ReactNode; mt?: number }) {
  const Icon = tone === 'slate' || tone === 'blue' || tone === 'green' ? IconInfoCircle : IconAlertTriangle;
  return (
    <div
      className={classes.notice}
      data-tone={tone}
      role={tone === 'red' ? 'alert' : 'status'}
      style={mt ? { marginTop: mt } : undefined}
    >
      <Icon size={16} className={classes.icon} />
      <div>{children}</div>
    </div>
  );
}
