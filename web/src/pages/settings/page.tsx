import { useQuery } from '@tanstack/react-query';
import { baseUrl } from '#/api/client';
import { aboutQuery } from '#/api/queries';
import { useCan } from '#/api/session';
import { Keys } from '#/app/help';
import { useWords } from '#/i18n';
import { formatDuration } from '#/lib/duration';
import { Notice } from '#/ui/notice';
import { Facts, Page, Panel } from '#/ui/page';
import { Failed, Loading } from '#/ui/states';
import { Time } from '#/ui/time';
import { Account } from './account';
import { Display } from './display';
import { FirstSteps } from './first';
import classes from './page.module.css';
import { Password } from './password';
import { Sessions } from './sessions';
import { settingsWords } from './words';

export function SettingsPage() {
  const say = useWords(settingsWords);
  const can = useCan();
  return (
    <Page title={say('title')}>
      {can.administrator && <FirstSteps />}
      <div className={classes.columns}>
        <div className={classes.column}>
          <Display />
          <Account />
          <Password />
          <Sessions />
        </div>
        <div className={classes.column}>
          <About />
          <Panel title={say('keyboard')} className="with-keyboard">
            <Keys />
          </Panel>
        </div>
      </div>
    </Page>
  );
}

/** From here on a difference of the clocks shows, in milliseconds: the answer's way is well within it. */
const CLOCK_OFF_MS = 5_000;

/** The stores as they write themselves. */
const storeNames: Record<string, string> = { sqlite: 'SQLite', mysql: 'MySQL' };

function About() {
  const say = useWords(settingsWords);
  const about = useQuery(aboutQuery);
  const off = about.data ? Math.abs(about.dataUpdatedAt - Date.parse(about.data.now)) : 0;
  return (
    <Panel title={say('about')}>
      {about.isPending ? (
        <Loading compact />
      ) : about.isError && !about.data ? (
        <Failed error={about.error} retry={() => void about.refetch()} compact />
      ) : (
        <Facts
          facts={[
            [say('version'), `${about.data.product} ${about.data.version}`],
            [say('licence'), say('licence_name')],
            [say('cluster'), about.data.cluster],
            about.data.console != null && [
              say('console'),
              <span key="console" className="mono">
                {about.data.console}
              </span>,
            ],
            [say('store'), storeNames[about.data.store] ?? about.data.store],
            [say('clock'), <Time key="clock" at={about.data.now} milliseconds={false} />],
          ]}
        />
      )}
      {off > CLOCK_OFF_MS && (
        <Notice tone="orange" mt={12}>
          {say('clock_off', { by: formatDuration(Math.round(off / 1000) * 1000) })}
        </Notice>
      )}
      <div className={classes.links}>
        <a href={`${baseUrl()}/docs`} target="_blank" rel="noreferrer">
          {say('api')}
        </a>
        <a href={`${baseUrl()}/api/v1/openapi.json`} target="_blank" rel="noreferrer">
          {say('openapi')}
        </a>
      </div>
    </Panel>
  );
}
