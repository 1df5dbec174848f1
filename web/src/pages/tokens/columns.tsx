import { ActionIcon, Tooltip } from '@mantine/core';
import { IconTrash } from '@tabler/icons-react';
import { useWords } from '#/i18n';
import { actorText } from '#/lib/actor';
import { useNow } from '#/lib/now';
import { type Column, TwoLines } from '#/ui/table';
import { Time } from '#/ui/time';
import type { Token } from './page';
import { tokensWords } from './words';

/** From this width on a token's facts have columns of their own. */
const BESIDE = 520;

interface ColumnsProps {
  tab: 'mine' | 'workers' | 'all';
  groupName: (group: string) => string;
  /** What a person is called; undefined while that is not known. */
  personName: (user: string) => string | undefined;
  onRevoke: (token: Token) => void;
}

export function useTokenColumns({ tab, groupName, personName, onRevoke }: ColumnsProps): Column<Token>[] {
  const say = useWords(tokensWords);
  const name = (token: Token) => <strong style={{ fontWeight: 550 }}>{token.name}</strong>;
  const scope = (token: Token) =>
    token.worker_of
      ? say('scope.worker', { group: groupName(token.worker_of) })
      : ((token.user && personName(token.user)) ?? say('scope.user'));
  const atMost = (token: Token) =>
    token.at_most ? say(`role.${token.at_most}`) : token.worker_of ? '–' : say('whole');
  const columns: (Column<Token> | false)[] = [
    { id: 'name', header: say('name'), from: BESIDE, cell: name },
    {
      id: 'in_brief',
      header: say('name'),
      until: BESIDE,
      cell: (token) => (
        <TwoLines
          first={name(token)}
          second={
            <>
              <span className="mono">{token.prefix}…</span> · {tab === 'mine' ? atMost(token) : scope(token)}
            </>
          }
        />
      ),
    },
    {
      id: 'prefix',
      header: say('prefix'),
      width: 140,
      from: BESIDE,
      cell: (token) => <span className="mono">{token.prefix}…</span>,
    },
    tab === 'all' && {
      id: 'scope',
      header: say('scope'),
      width: 160,
      from: 640,
      cell: scope,
    },
    tab !== 'workers' && {
      id: 'at_most',
      header: say('at_most'),
      width: 120,
      from: 760,
      cell: atMost,
    },
    {
      id: 'expires',
      header: say('expires'),
      width: 100,
      cell: (token) => <Expiry at={token.expires_at} />,
    },
    {
      id: 'used',
      header: say('last_used'),
      width: 120,
      from: 860,
      cell: (token) =>
        token.last_used_at ? (
          <Time at={token.last_used_at} show="relative" />
        ) : (
          <span className="muted">{say('never_used')}</span>
        ),
    },
    {
      id: 'created',
      header: say('created'),
      width: 230,
      from: 1060,
      cell: (token) => (
        <span className="muted" title={actorText(token.created_by)}>
          <Time at={token.created_at} show="relative" /> {say('by', { name: actorText(token.created_by) })}
        </span>
      ),
    },
    {
      id: 'revoke',
      header: '',
      width: 56,
      align: 'right',
      cell: (token) => (
        <Tooltip label={say('revoke')}>
          <ActionIcon aria-label={say('revoke_of', { name: token.name })} onClick={() => onRevoke(token)}>
            <IconTrash size={16} />
          </ActionIcon>
        </Tooltip>
      ),
    },
  ];
  return columns.filter((column) => column !== false);
}

function Expiry({ at }: { at: string | null | undefined }) {
  const say = useWords(tokensWords);
  const now = useNow();
  if (!at) return <span className="muted">{say('never')}</span>;
  if (Date.parse(at) <= now) return <strong style={{ color: 'var(--s-red)' }}>{say('expired')}</strong>;
  return <Time at={at} show="relative" />;
}
