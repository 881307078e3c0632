// How busy each lane is: what works of what may, who waits and for how long.
import { duration } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { Meter } from '../ui/chart.mjs'

const HIGH = 0.8 // of the limit, from which a lane is shown as busy

const level = ({ active, limit }) => (active >= limit ? 'over' : active >= limit * HIGH ? 'high' : 'calm')

export const Lanes = ({ lanes }) => html`
  <section class="lanes" aria-label=${t('runs.lanes')}>
    ${lanes.map((lane) => html`
      <dl class="lane" key=${lane.name} data-level=${level(lane)}>
        <div><dt>${lane.name}</dt><dd><${Meter} value=${lane.active} most=${lane.limit} level=${level(lane)} />
          <b>${t('runs.lane.active', { active: lane.active, limit: lane.limit })}</b></dd></div>
        <div><dt>${t('runs.lane.waiting')}</dt><dd>${number(lane.waiting)}</dd></div>
        ${lane.wait_p95 != null && html`<div><dt>${t('runs.lane.wait')}</dt><dd>${duration(lane.wait_p50 * 1000)} / ${duration(lane.wait_p95 * 1000)}</dd></div>`}
      </dl>`)}
  </section>`
