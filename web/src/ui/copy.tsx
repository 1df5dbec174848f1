import { ActionIcon, Tooltip } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { useState } from 'react';
import { say as sayOutside, useWords } from '#/i18n';
import { uiWords } from './words';

/** Puts a text on the clipboard, also where the page is not served over TLS. */
export async function copyText(text: string) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.setAttribute('readonly', '');
  area.style.position = 'fixed';
  area.style.opacity = '0';
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

/** The same, with a word that it happened: for entries of menus. */
export async function copyAndTell(text: string) {
  await copyText(text);
  notifications.show({ message: sayOutside(uiWords, 'copied'), autoClose: 2_000 });
}

/** Copies `text`; `label` says what it is. */
export function CopyButton({ text, label }: { text: string; label?: string }) {
  const say = useWords(uiWords);
  const [done, setDone] = useState(false);
  const name = done ? say('copied') : label ? `${say('copy')}: ${label}` : say('copy');
  return (
    <Tooltip label={name}>
      <ActionIcon
        size="sm"
        aria-label={name}
        onClick={() => {
          void copyText(text).then(() => {
            setDone(true);
            setTimeout(() => setDone(false), 1_500);
          });
        }}
      >
        {done ? <IconCheck size={14} /> : <IconCopy size={14} />}
      </ActionIcon>
    </Tooltip>
  );
}
