// Where it hurts: four short lists over everything read (dashboard.md §7.2).
import { duration } from '../core/format.mjs'
import { html } from '../core/html.mjs'
import { number, t } from '../core/i18n.mjs'
import { href, route } from '../core/router.mjs'
import { Meter } from '../ui/chart.mjs'
import { heard } from './crashes.mjs'
import { Glyph, Name, us } from './states.mjs'

const SHOWN = 12

export function Hot({ tree, now }) {
  const nodes = [...tree.known.values()].filter((node) => !node.redacted)
  const again = new Map() // path → restarts the socket told of
  for (const { event, path } of heard.value) if (event === 'restarted') again.set(path, (again.get(path) ?? 0) + 1)
  const lists = {
    mailbox: [(node) => node.mailbox?.depth ?? 0, (n, { mailbox }) => (mailbox.capacity ? `${number(n)} / ${number(mailbox.capacity)}` : number(n))],
    handle: [(node) => node.latency_us?.handle?.p95 ?? 0, us],
    in_hand: [(node) => node.in_hand?.age_ms ?? 0, (ms, { in_hand: hand }) => `${duration(ms)} · ${hand.type}`],
    restarts: [(node) => Math.max(node.restarts_window ?? 0, again.get(node.path) ?? 0), number],
  }
  return html`
    <div class="view-scroll hot" tabindex="0">${Object.entries(lists).map(([name, [heat, text]]) => {
      const hottest = nodes.map((node) => [heat(node), node]).filter(([value]) => value > 0).sort(([a], [b]) => b - a).slice(0, SHOWN)
      const most = hottest[0]?.[0]
      return html`
        <section key=${name}><h2>${t(`actors.hot.${name}`)}</h2>
          ${hottest.length === 0 && html`<p class="muted">${t('actors.hot.none')}</p>`}
          <ol>${hottest.map(([value, node]) => html`
            <li key=${node.path}><a href=${href('actors', { ...route.value.query, sel: node.path, tab: TABS[name] })} title=${node.path}>
              <${Glyph} node=${node} now=${now} /><${Name} node=${node} /><span class="muted hot-class">${node.class}</span><b>${text(value, node)}</b>
              <${Meter} value=${value} most=${most} /></a></li>`)}</ol></section>`
    })}</div>`
}

const TABS = { mailbox: 'mailbox', handle: 'latency', in_hand: 'overview', restarts: 'crashes' }
