import {
  IconBellRinging,
  IconHistory,
  IconKey,
  IconLayoutDashboard,
  IconListDetails,
  IconServer2,
  IconServerBolt,
  IconSettings,
  IconSkull,
  IconStack2,
  IconUsers,
} from '@tabler/icons-react';
import type { ComponentType } from 'react';
import type { Can } from '#/api/session';
import type { Key } from '#/i18n/words';
import type { appWords } from './words';

export interface Entry {
  to: string;
  word: Key<typeof appWords.en>;
  icon: ComponentType<{ size?: number | string; stroke?: number | string }>;
  /** The second key after `g`. */
  key: string;
  /** Whether the entry is for this person; for everybody unless given. */
  shown?: (can: Can) => boolean;
}

/** The pages of the navigation, in parts with a line between them. An entry comes together with its page. */
export const navigation: readonly (readonly Entry[])[] = [
  [
    { to: '/', word: 'nav.overview', icon: IconLayoutDashboard, key: 'o' },
    { to: '/jobs', word: 'nav.jobs', icon: IconBellRinging, key: 'j' },
    { to: '/runs', word: 'nav.runs', icon: IconListDetails, key: 'r' },
    { to: '/dead-letters', word: 'nav.dead_letters', icon: IconSkull, key: 'd' },
  ],
  [
    { to: '/groups', word: 'nav.groups', icon: IconStack2, key: 't' },
    { to: '/workers', word: 'nav.workers', icon: IconServerBolt, key: 'w' },
    { to: '/cluster', word: 'nav.cluster', icon: IconServer2, key: 'c' },
  ],
  [
    {
      to: '/users',
      word: 'nav.users',
      icon: IconUsers,
      key: 'u',
      shown: (can) => can.administrator || can.anywhere('owner'),
    },
    { to: '/tokens', word: 'nav.tokens', icon: IconKey, key: 'k' },
    { to: '/audit', word: 'nav.audit', icon: IconHistory, key: 'a' },
    { to: '/settings', word: 'nav.settings', icon: IconSettings, key: 's' },
  ],
];
