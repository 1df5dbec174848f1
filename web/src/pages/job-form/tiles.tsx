import type { ReactNode } from 'react';
import classes from './tiles.module.css';

export interface Tile<Value extends string> {
  value: Value;
  label: string;
  hint?: string;
  icon?: ReactNode;
}

interface TilesProps<Value extends string> {
  id: string;
  label: string;
  /** Only for those who hear the page: a heading stands above. */
  labelHidden?: boolean;
  tiles: readonly Tile<Value>[];
  value: Value;
  onChange: (value: Value) => void;
  /** The value that is the default, marked as such. */
  standard?: Value;
  standardWord?: string;
}

/** One of a few, each with a word or two about it. Arrow keys choose, as in any group of radio buttons. */
export function Tiles<Value extends string>({
  id,
  label,
  labelHidden = false,
  tiles,
  value,
  onChange,
  standard,
  standardWord,
}: TilesProps<Value>) {
  return (
    <fieldset id={id} className={classes.tiles}>
      <legend className={labelHidden ? 'sr-only' : classes.legend}>{label}</legend>
      {tiles.map((tile) => (
        <label key={tile.value} className={classes.tile} title={tile.hint}>
          <input
            type="radio"
            name={id}
            value={tile.value}
            checked={tile.value === value}
            onChange={() => onChange(tile.value)}
            className={classes.radio}
          />
          {tile.icon && <span className={classes.icon}>{tile.icon}</span>}
          <span>{tile.label}</span>
          {standardWord && tile.value === standard && <span className={classes.standard}>{standardWord}</span>}
        </label>
      ))}
    </fieldset>
  );
}
