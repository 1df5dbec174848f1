import type { Schemas } from '#/api/client';

export type Server = Schemas['ServerView'];
export type Shard = Schemas['ShardView'];

export interface Room {
  name: string;
  servers: Server[];
}

/** The servers by machine room, both by name. */
export function roomsOf(servers: readonly Server[]): Room[] {
  const rooms = new Map<string, Server[]>();
  for (const server of servers) rooms.set(server.room, [...(rooms.get(server.room) ?? []), server]);
  return [...rooms]
    .map(([name, servers]) => ({ name, servers: servers.sort((one, other) => one.id.localeCompare(other.id)) }))
    .sort((one, other) => one.name.localeCompare(other.name));
}

export interface Held {
  shard: Shard;
  owner: boolean;
}

/** What each server holds, owned shards first. */
export function heldBy(shards: readonly Shard[]): Map<string, Held[]> {
  const held = new Map<string, Held[]>();
  const add = (server: string, entry: Held) => held.set(server, [...(held.get(server) ?? []), entry]);
  for (const shard of shards) {
    if (shard.owner) add(shard.owner, { shard, owner: true });
    for (const server of shard.standbys) add(server, { shard, owner: false });
  }
  for (const entries of held.values()) entries.sort((one, other) => Number(other.owner) - Number(one.owner));
  return held;
}

export type Warning =
  | { kind: 'no_owner'; shard: Shard }
  | { kind: 'few_holders'; shard: Shard; held: number; backups: number }
  | { kind: 'one_room'; shard: Shard; room: string };

/** What a person must look at, the worst first. */
export function warningsOf(
  shards: readonly Shard[],
  servers: readonly Server[],
  backups: ReadonlyMap<string, number>,
): Warning[] {
  const live = new Map(servers.filter((server) => server.answers).map((server) => [server.id, server.room]));
  const allRooms = new Set(live.values()).size;
  const warnings: Warning[] = [];
  for (const shard of shards) {
    if (!shard.owner || !shard.owner_live) {
      warnings.push({ kind: 'no_owner', shard });
      continue;
    }
    const holders = [shard.owner, ...shard.standbys].filter((server) => live.has(server));
    // More holders than servers cannot be had: that is for whoever runs the machines, once, not for each shard.
    const wanted = Math.min(backups.get(shard.group) ?? 1, servers.length);
    if (holders.length < wanted) {
      warnings.push({ kind: 'few_holders', shard, held: holders.length, backups: wanted });
      continue;
    }
    const rooms = new Set(holders.map((server) => live.get(server)));
    if (holders.length > 1 && rooms.size === 1 && allRooms > 1) {
      warnings.push({ kind: 'one_room', shard, room: [...rooms][0] ?? '' });
    }
  }
  const order = ['no_owner', 'few_holders', 'one_room'];
  return warnings.sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind));
}
