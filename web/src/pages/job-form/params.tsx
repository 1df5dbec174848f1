import { Button, Textarea } from '@mantine/core';
import { useWords } from '#/i18n';
import { JsonEditor, parseJson } from '#/ui/json';
import { Panel } from '#/ui/page';
import { jsonFault } from './json-fault';
import classes from './page.module.css';
import { fieldId, useForm } from './state';
import { Tiles } from './tiles';
import { formWords } from './words';

/** The bound of the API, in bytes of JSON. */
const MOST_BYTES = 64 * 1024;

/** What the handler is given: JSON, or a plain text as XXL-JOB's users have it. */
export function Params() {
  const say = useWords(formWords);
  const { draft, set, faultOf } = useForm();
  const { mode, text } = draft.params;
  const fault = mode === 'json' ? jsonFault(text) : undefined;
  const parsed = parseJson(text);
  const bytes = new TextEncoder().encode(
    mode === 'text' ? JSON.stringify(text) : 'value' in parsed ? JSON.stringify(parsed.value) : text,
  ).length;
  const error = fault
    ? say('json_fault', { line: fault.line, column: fault.column, wanted: say(`wanted.${fault.wanted}`) })
    : faultOf('params');

  return (
    <Panel title={say('field.params')}>
      <div className={classes.stack}>
        <div className={classes.paramsHead}>
          <Tiles
            id="job-params-mode"
            label={say('params_mode')}
            labelHidden
            tiles={[
              { value: 'json', label: say('params_json') },
              { value: 'text', label: say('params_text') },
            ]}
            value={mode}
            onChange={(mode) => set('params', { mode, text: converted(mode, text) })}
          />
          <span className="muted">{say(mode === 'json' ? 'params_json_hint' : 'params_text_hint')}</span>
          {mode === 'json' && text.trim() !== '' && !fault && (
            <Button
              variant="default"
              onClick={() => 'value' in parsed && set('params', { text: JSON.stringify(parsed.value, null, 2) })}
            >
              {say('params_format')}
            </Button>
          )}
        </div>
        <div id={fieldId('params')} tabIndex={-1}>
          {mode === 'json' ? (
            <JsonEditor
              label={say('field.params')}
              value={text}
              onChange={(text) => set('params', { text })}
              errorAt={fault?.at}
              describedBy="job-params-error"
            />
          ) : (
            <Textarea
              aria-label={say('field.params')}
              aria-describedby="job-params-error"
              value={text}
              onChange={(event) => set('params', { text: event.currentTarget.value })}
              autosize
              minRows={3}
              maxRows={16}
            />
          )}
        </div>
        <div className={classes.underField}>
          <div id="job-params-error" className={classes.error} role={error ? 'alert' : undefined}>
            {error}{' '}
            {fault && (
              <button type="button" className={classes.link} onClick={() => set('params', { mode: 'text' })}>
                {say('params_as_text')}
              </button>
            )}
          </div>
          <span className="muted num" data-full={bytes > MOST_BYTES}>
            {text !== '' && say('params_bytes', { bytes: bytes.toLocaleString(), most: MOST_BYTES.toLocaleString() })}
          </span>
        </div>
      </div>
    </Panel>
  );
}

/** The text in the other mode, with the same meaning where it has one there. */
function converted(mode: 'json' | 'text', text: string): string {
  if (mode === 'json') return text === '' ? '' : JSON.stringify(text);
  const parsed = parseJson(text);
  return 'value' in parsed && typeof parsed.value === 'string' ? parsed.value : text;
}
