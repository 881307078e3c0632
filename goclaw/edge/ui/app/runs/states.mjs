// The eight states of a run as people see them: a word, a shape, a tone. Never colour alone.
import { useEffect, useRef } from 'preact/hooks'
import { gateway } from '../core/gateway.mjs'
import { html } from '../core/html.mjs'
import { t } from '../core/i18n.mjs'

export const STATES = ['QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT', 'SUCCEEDED', 'FAILED', 'CANCELED', 'DEAD_LETTER']
export const OPEN = ['QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT']
export const AGAIN = ['FAILED', 'CANCELED', 'DEAD_LETTER'] // can be tried again

export const State = ({ state, sub }) => html`
  <span class="run-state" data-state=${state}><i class="run-glyph" aria-hidden="true"></i>${t(`runs.state.${state}`)}${sub && html`<small>${t(`runs.sub.${sub}`)}</small>`}</span>`

const SETTLE = 250 // ms between two questions to the gateway, however much happens
const PIECES = new Set(['chunk', 'thinking', 'activity'])

// Calls `onEvent` with every event of runs (of this one), and `read` soon after those that change more than text.
export function useRunNews(read, onEvent, id) {
  const latest = useRef()
  latest.current = { read, onEvent }
  useEffect(() => {
    let timer = 0
    const off = gateway.on('agent', (event) => {
      if (id && event.runId !== id) return
      latest.current.onEvent(event)
      if (PIECES.has(event.type)) return
      timer ||= setTimeout(() => {
        timer = 0
        latest.current.read()
      }, SETTLE)
    })
    return () => {
      off()
      clearTimeout(timer)
    }
  }, [id])
}

// In ms: how long a run waited before it began, how long it worked (null: not yet), when it is due (null: it is).
export function times({ created_at: created, available_at: available, started_at: started, finished_at: finished, state }, now = Date.now()) {
  const at = (when) => (when ? new Date(when).getTime() : null)
  const waits = state === 'QUEUED' || state === 'RETRY_WAIT'
  return {
    waited: Math.max(0, (at(started) ?? at(finished) ?? now) - at(created)),
    worked: started ? Math.max(0, (at(finished) ?? now) - at(started)) : null,
    due: waits && at(available) > now ? at(available) : null,
  }
}
