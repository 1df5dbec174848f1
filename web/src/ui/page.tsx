import { Link } from '@tanstack/react-router';
import { type ReactNode, useEffect } from 'react';
import classes from './page.module.css';

export interface Crumb {
  label: string;
  to?: string;
}

interface PageProps {
  title: string;
  /** What stands before the title: where one came from. */
  crumbs?: readonly Crumb[];
  /** Beside the title: a state, a count. */
  aside?: ReactNode;
  actions?: ReactNode;
  /** A line below the title. */
  subtitle?: ReactNode;
  /** The page fills the window and its table scrolls, not the page. */
  fill?: boolean;
  children: ReactNode;
}

/** The frame of every page: crumbs, title, actions, content. */
export function Page({ title, crumbs = [], aside, actions, subtitle, fill = false, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · Carillon`;
  }, [title]);
  return (
    <div className={classes.page} data-fill={fill}>
      <header className={classes.header}>
        <div className={classes.heading}>
          {crumbs.length > 0 && (
            <nav aria-label="breadcrumb" className={classes.crumbs}>
              <ol>
                {crumbs.map((crumb) => (
                  <li key={crumb.label}>{crumb.to ? <Link to={crumb.to}>{crumb.label}</Link> : crumb.label}</li>
                ))}
              </ol>
            </nav>
          )}
          <div className={classes.titleLine}>
            <h1 className={classes.title}>{title}</h1>
            {aside}
          </div>
          {subtitle && <div className={`muted ${classes.subtitle}`}>{subtitle}</div>}
        </div>
        {actions && <div className={classes.actions}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}

interface PanelProps {
  title?: string;
  actions?: ReactNode;
  /** The content reaches the panel's edges, as tables do. */
  flush?: boolean;
  /** Its list takes the height that a filled page leaves. */
  fill?: boolean;
  className?: string | undefined;
  children: ReactNode;
}

/** A titled box of a page. */
export function Panel({ title, actions, flush = false, fill = false, className, children }: PanelProps) {
  return (
    <section className={`${classes.panel} ${className ?? ''}`} data-fill={fill} aria-label={title}>
      {(title || actions) && (
        <div className={classes.panelHead}>
          {title && <h2 className={classes.panelTitle}>{title}</h2>}
          {actions && <div className={classes.actions}>{actions}</div>}
        </div>
      )}
      <div className={classes.panelBody} data-flush={flush}>
        {children}
      </div>
    </section>
  );
}

/** Names and values, such as the facts of a run. */
export function Facts({ facts }: { facts: readonly (readonly [string, ReactNode] | false | undefined)[] }) {
  return (
    <dl className={classes.facts}>
      {facts.map(
        (fact) =>
          fact && (
            <div key={fact[0]}>
              <dt>{fact[0]}</dt>
              <dd>{fact[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

/** One figure with its name. */
export function Figure({ name, children, hint }: { name: string; children: ReactNode; hint?: ReactNode }) {
  return (
    <div className={classes.figure}>
      <div className={classes.figureName}>{name}</div>
      <div className={`num ${classes.figureValue}`}>{children}</div>
      {hint && <div className={`muted ${classes.figureHint}`}>{hint}</div>}
    </div>
  );
}
