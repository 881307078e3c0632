// A schedule as people say it; expressions that have no plain words stay as they are.
import { duration, fullTime } from '../core/format.mjs'
import { language, t } from '../core/i18n.mjs'

const DAILY = /^(\d{1,2}) (\d{1,2}) \* \* (\*|[0-7])$/
const HOURLY = /^(\d{1,2}) \* \* \* \*$/
const MACROS = { '@hourly': '0 * * * *', '@daily': '0 0 * * *', '@weekly': '0 0 * * 0' }

export function inWords({ kind, everyMs, atMs, expr = '' }) {
  if (kind === 'every') return t('cron.words.every', { time: duration(everyMs) })
  if (kind === 'at') return t('cron.words.at', { time: fullTime(atMs) })
  const plain = MACROS[expr.toLowerCase()] ?? expr.trim().replace(/\s+/g, ' ')
  const daily = DAILY.exec(plain)
  if (daily) {
    const time = `${daily[2].padStart(2, '0')}:${daily[1].padStart(2, '0')}`
    return daily[3] === '*' ? t('cron.words.daily', { time }) : t('cron.words.weekly', { time, day: weekday(Number(daily[3])) })
  }
  const hourly = HOURLY.exec(plain)
  return hourly ? t('cron.words.hourly', { minute: hourly[1].padStart(2, '0') }) : ''
}

// 0 and 7 are Sunday; the 4th of January 1970 was one.
const weekday = (day) => new Intl.DateTimeFormat(language.value, { weekday: 'long', timeZone: 'UTC' }).format(new Date(Date.UTC(1970, 0, 4 + day)))
