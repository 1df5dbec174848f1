import { expect, test } from 'vitest';
import { heldBy, roomsOf, type Server, type Shard, warningsOf } from './placement';

const server = (id: string, room: string, answers = true) => ({ id, room, answers }) as Server;
const shard = (index: number, owner: string | null, standbys: string[], owner_live = owner !== null) =>
  ({ id: `g.${index}`, group: 'g', index, owner, standbys, owner_live, holders_gone: [] }) as unknown as Shard;

const servers = [server('s3', 'b'), server('s1', 'a'), server('s2', 'a')];

test('servers stand in their rooms, and hold what they own first', () => {
  expect(roomsOf(servers).map((room) => [room.name, room.servers.map((server) => server.id)])).toEqual([
    ['a', ['s1', 's2']],
    ['b', ['s3']],
  ]);
  const held = heldBy([shard(0, 's1', ['s2']), shard(1, 's2', ['s1'])]);
  expect(held.get('s1')?.map((held) => [held.shard.index, held.owner])).toEqual([
    [0, true],
    [1, false],
  ]);
});

test('warns of what has no owner, too few holders, or one room for all', () => {
  const shards = [shard(0, 's1', ['s3']), shard(1, 's1', []), shard(2, 's1', ['s2']), shard(3, 's9', ['s1'], false)];
  const found = warningsOf(shards, servers, new Map([['g', 2]]));
  expect(found.map((warning) => [warning.kind, warning.shard.index])).toEqual([
    ['no_owner', 3],
    ['few_holders', 1],
    ['one_room', 2],
  ]);
});

test('one server alone is no reason to warn of each shard', () => {
  expect(warningsOf([shard(0, 's1', [])], [server('s1', 'a')], new Map([['g', 2]]))).toEqual([]);
});
