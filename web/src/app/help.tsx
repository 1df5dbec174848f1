import { Kbd, Modal } from '@mantine/core';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { uiWords } from '#/ui/words';
import classes from './help.module.css';
import { navigation } from './navigation';
import { appWords } from './words';

/** The keyboard shortcuts, in a dialog. */
export function Help({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const say = useWords(appWords);
  const ui = useWords(uiWords);
  return (
    <Modal opened={opened} onClose={onClose} title={say('help')} closeButtonProps={{ 'aria-label': ui('close') }}>
      <Keys />
    </Modal>
  );
}

/** The keyboard shortcuts that lead somewhere for this person. */
export function Keys() {
  const say = useWords(appWords);
  const can = useCan();
  const rows: [string, string][] = [
    ['/', say('keys.filter')],
    ['Ctrl K', say('keys.palette')],
    ['?', say('keys.help')],
    ['t', say('keys.theme')],
    ['↑ ↓', say('keys.rows')],
    ...navigation
      .flat()
      .filter((entry) => entry.shown?.(can) ?? true)
      .map((entry): [string, string] => [`g ${entry.key}`, say(entry.word)]),
  ];
  return (
    <dl className={classes.keys}>
      {rows.map(([keys, what]) => (
        <div key={keys}>
          <dt>
            {keys.split(' ').map((key) => (
              <Kbd key={key} size="sm">
                {key}
              </Kbd>
            ))}
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}
